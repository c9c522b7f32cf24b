# Tunesmith for a processor: `make image`, or docker build --tag tunesmith:cpu .
# PyPI's torch for Linux brings CUDA's libraries (3 GB). The index of PyTorch's CPU builds, which its
# installation page names, makes the image small: --build-arg TORCH_INDEX=URL.
FROM python:3.11-slim AS build
ARG EXTRAS=all
ARG TORCH_INDEX=
ENV PATH=/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python -m venv /venv && \
    if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch; \
    fi
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
RUN useradd --uid 1000 --create-home tunesmith && \
    install --directory --owner tunesmith /work /cache
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH TUNESMITH_HOME=/cache
USER 1000
WORKDIR /work
ENTRYPOINT ["tunesmith"]
CMD ["--help"]
