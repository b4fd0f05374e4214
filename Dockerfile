# mammozoo on a processor, without a network once it is built:
#
#   docker build -t mammozoo .
#   docker run --rm --network none -v "$PWD:/data" -w /data mammozoo predict scans/
#
# torch comes as pip chooses it; --build-arg PIP_ARGS="--index-url URL" names another place for all packages.
FROM python:3.12-slim
ARG PIP_ARGS=""
COPY . /src
# shellcheck disable=SC2086 -- several words
RUN pip install --no-cache-dir $PIP_ARGS /src && rm -rf /src && useradd --create-home mammozoo
USER mammozoo
ENV HF_HUB_OFFLINE=1
ENTRYPOINT ["mammozoo"]
CMD ["--help"]
