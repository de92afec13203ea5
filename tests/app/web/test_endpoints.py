"""The pages as they are sent: what is in them, how large they are, and what browsers may do with them."""

import re
from pathlib import Path

import pytest

from app.keys import browser, guard
from app.web import static_files
from tests.conftest import Service

HTML = {"accept": "text/html,*/*"}
PAGES = ("/", "/spaces", "/genotypes", "/jobs", "/results", "/login")
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_small_and_takes_nothing_from_elsewhere(
    service: Service, published: list[str], path: str
) -> None:
    answer = service.client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert not re.findall(r"<script(?![^>]*src=)[^>]*>|\son\w+=|\sstyle=", answer.text)  # the policy has none
    used = set(re.findall(r'"(/static/[^"]+)"', answer.text))
    while True:  # modules that modules import
        more = {
            f"/static/{name}"
            for one in used
            if one.endswith(".js")
            for name in re.findall(r'from "\./(.*?)"', service.client.get(one).text)
        }
        if more <= used:
            break
        used |= more
    sizes = [len(service.client.get(one).content) for one in used]
    assert len(answer.content) + sum(sizes) < 300_000


def test_what_people_wrote_is_text_on_every_page(service: Service, published: list[str], digits: str) -> None:
    row = service.client.patch(f"/v1/genotypes/{published[0]}", json={"note": HOSTILE})
    assert row.status_code == 200
    cell = [("skip_connect", 0), ("skip_connect", 1)] * 4
    text = f"Genotype(normal={cell}, normal_concat=[2,3,4,5], reduce={cell}, reduce_concat=[2,3,4,5])"
    body = {"text": text, "name": 'a<b>&"c', "evaluation": {"dataset_id": digits, "test_accuracy": 90.0}}
    named = service.post(
        "/v1/genotypes", body | {"evaluation": {"dataset_id": digits, "test_accuracy": 90.0}}
    )
    (row,) = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    for path in (
        f"/genotypes/{published[0]}",
        f"/genotypes/{named['id']}",
        "/genotypes",
        f"/datasets/{digits}",
        f"/evaluations/{row['id']}",
        f"/genotypes/{published[0]}?beside={named['id']}",
    ):
        text = service.client.get(path, headers=HTML).text
        assert "<img src=x" not in text, path
        assert "a<b>" not in text, path
    assert "a&lt;b&gt;&amp;&#34;c" in text


def test_a_problem_is_a_page_for_who_asked_for_one_and_json_for_others(service: Service) -> None:
    for path in ("/genotypes/gen_none", "/jobs/job_none", "/nothing", "/genotypes?colour=red"):
        page = service.client.get(path, headers=HTML)
        assert page.headers["content-type"].startswith("text/html"), path
        assert page.status_code in (404, 422), path
        assert 'role="alert"' in page.text
        data = service.client.get(path)
        assert data.headers["content-type"] == "application/problem+json", path
        assert data.status_code == page.status_code


def test_filters_of_lists_take_what_forms_send(service: Service, published: list[str]) -> None:
    every = service.client.get(
        "/genotypes", params={"search_space": "", "origin": "", "name": ""}, headers=HTML
    )
    assert every.text.count('class="card"') == len(published)
    one = service.client.get("/genotypes", params={"origin": "published", "name": "DARTS-V2"}, headers=HTML)
    assert one.text.count('class="card"') == 1
    assert (
        service.client.get("/jobs", params={"kind": "", "status": "failed"}, headers=HTML).status_code == 200
    )


def test_a_key_that_signs_in_leads_only_to_pages_of_this_service(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "FRESH_SECONDS", 0.0)
    key = service.post("/v1/keys", {"name": "one", "scope": "read"})["key"]
    service.client.headers.pop("authorization", None)
    asked = service.client.get("/genotypes?name=x", headers=HTML, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Fgenotypes%3Fname%3Dx")
    for given, right in (
        ("/jobs", "/jobs"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nset-cookie: x", "/"),
    ):
        answer = service.client.post("/login", data={"key": key, "next": given}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, right), given
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert service.client.post("/login", data={"key": "nas_no"}).status_code == 401
    with_cookie = {"cookie": f"{browser.COOKIE}={key}"}
    assert service.client.get("/v1/jobs", headers=with_cookie).status_code == 200
    own = with_cookie | {"x-csrf-token": browser.token(key)}
    refused = service.client.post("/v1/genotypes/published", headers=own)
    assert refused.status_code == 403  # it may only read
    assert "needs write" in refused.json()["detail"]
    without = service.client.post("/v1/genotypes/published", headers=with_cookie)
    assert "token" in without.json()["detail"]


def test_scripts_of_a_version_before_are_not_used_again(service: Service) -> None:
    first = service.client.get("/static/home.js")
    assert first.headers["cache-control"] == "no-cache"
    again = service.client.get("/static/home.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert service.client.get("/static/../pages.py").status_code == 404


def test_plotly_comes_from_its_own_package_and_packed(service: Service) -> None:
    packed = service.client.get("/static/plotly.min.js", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 2_000_000
    assert b"plotly.js v" in packed.content[:200]
    assert not list(Path(static_files.FOLDER).glob("*plotly*"))
    plain = service.client.get("/static/plotly.min.js", headers={"accept-encoding": "identity"})
    assert plain.content == packed.content
