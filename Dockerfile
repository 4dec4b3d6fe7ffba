# The command `audioslots` with the models that ship, on a CPU: docs/install.md says how to run it.
FROM python:3.11-slim AS build
RUN python -m venv /opt/audioslots
ENV PATH=/opt/audioslots/bin:$PATH
# the build of torch without CUDA takes a fraction of the space; torchaudio, which needs CUDA, is for training only. Modules are
# compiled here, since the user of the image could not keep what Python compiles at each start
RUN pip install --no-cache-dir torch==2.14.1 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE NOTICE /source/
COPY src /source/src
RUN pip install --no-cache-dir "/source[plot,metrics]"

FROM python:3.11-slim
COPY --from=build /opt/audioslots /opt/audioslots
# any user may run it: caches go to a folder that everybody can write to
ENV PATH=/opt/audioslots/bin:$PATH HOME=/tmp
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["audioslots"]
CMD ["--help"]
