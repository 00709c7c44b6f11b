# Answers questions about regions over HTTP, from a trained model:
#   docker build --tag region .
#   docker run --gpus all --publish 8000:8000 --volume "$PWD/runs:/runs:ro" --env REGION_KEY region \
#     serve --ckpt_path /runs/omni_rgpt/finetune/checkpoints/last.ckpt --host 0.0.0.0 --api_key_env REGION_KEY
# Any other command of `region` runs in it as well. torch is PyPI's, on x86_64 a CUDA build, which needs the driver alone.
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY constraints.txt /tmp/
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /wheels/*.whl)[serve]"
RUN useradd --create-home region
USER region
WORKDIR /home/region
EXPOSE 8000
ENTRYPOINT ["region"]
CMD ["--help"]
