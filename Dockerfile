# One image for the API and the workers; the command tells them apart.
FROM python:3.12-slim

WORKDIR /service
COPY requirements-dev.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes -r requirements-dev.txt
COPY app app
COPY worker worker
COPY models models
COPY migrations migrations
COPY client client
RUN pip install --no-cache-dir --no-deps --no-build-isolation . ./client \
    && useradd --create-home service && mkdir /data && chown service /data
USER service
ENV VGAE_NAS_HOME=/data VGAE_NAS_HOST=0.0.0.0
EXPOSE 8000
CMD ["vgae-nas", "serve", "--workers", "0"]
