"""Pages show every row once, in order, whatever the size and whatever comes or goes meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.pages import paginate
from app.problems import InvalidRequest


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows"
    id: Mapped[str] = mapped_column(primary_key=True)
    score: Mapped[float]


def filled(scores: list[float]) -> Session:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    session = Session(engine)
    session.add_all(Row(id=f"row_{i:03}", score=score) for i, score in enumerate(scores))
    session.commit()
    return session


def read(session: Session, limit: int, by_score: bool, descending: bool, drop: bool = False) -> list[str]:
    ids, cursor = [], None
    while True:
        by = Row.score if by_score else None
        rows, cursor = paginate(session, select(Row), by, Row.id, cursor, limit, descending=descending)
        ids += [row.id for row in rows]
        if cursor is None:
            return ids
        if drop:  # the row that the cursor points at goes away
            session.delete(rows[-1])
            session.commit()


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 1.5, 97.43, 97.5]), max_size=25),
    st.integers(1, 10),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_pages_hold_every_row_once_in_order(
    scores: list[float], limit: int, by_score: bool, descending: bool, drop: bool
) -> None:
    session = filled(scores)
    ids = [f"row_{i:03}" for i in range(len(scores))]
    key = (lambda i: (scores[int(i[4:])], i)) if by_score else (lambda i: i)
    assert read(session, limit, by_score, descending, drop) == sorted(ids, key=key, reverse=descending)


@pytest.mark.parametrize("cursor", ["", "x", "bnVsbA", "WzFd", "W10", "WyJhIiwiYiJd", "é"])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        paginate(filled([1.0]), select(Row), Row.score, Row.id, cursor, 5)
    assert caught.value.errors[0].field == "cursor"
