# Targets: `server` (coordinator and CLI, no libtorch) and `worker`. Everything stays under /opt/quantmoe, where it was
# built, because the programs find libtorch and Arrow there by RPATH. Needs BuildKit, for the cache of compiled objects.
# The worker computes on CPUs; what an image for GPUs adds is in docs/operations.md, "A host with GPUs".
ARG PRESET=release
FROM debian:bookworm-slim AS base
WORKDIR /opt/quantmoe

FROM base AS toolchain
COPY dev ./
COPY cmake ./cmake
RUN ./dev setup --without-torch
# ccache passes by every source with a precompiled header unless it is told that both are the same each time.
ENV LANG=C.UTF-8 CCACHE_SLOPPINESS=time_macros,pch_defines

FROM toolchain AS build-server
ARG PRESET
COPY . .
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset "$PRESET" -DQUANTMOE_TORCH=OFF -DQUANTMOE_TESTS=OFF -DQUANTMOE_BENCH=OFF \
 && cmake --build "build/$PRESET" --parallel "$(nproc)" --target quantmoe quantmoe-server \
 && install -D --strip -t bin "build/$PRESET/client/quantmoe" "build/$PRESET/server/quantmoe-server"

FROM toolchain AS build-worker
ARG PRESET
RUN ./dev setup
COPY . .
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset "$PRESET" -DQUANTMOE_TESTS=OFF -DQUANTMOE_BENCH=OFF \
 && cmake --build "build/$PRESET" --parallel "$(nproc)" --target quantmoe-worker \
 && install -D --strip -t bin "build/$PRESET/worker/quantmoe-worker"

# Shared libraries of both programs, and the user they run as.
FROM base AS runtime
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    ca-certificates libgrpc++1.51 libprotobuf32 libabsl20220623 libprometheus-cpp-core1.0 libmicrohttpd12 libcurl4 \
    libsqlite3-0 libspdlog1.10 libpcre2-8-0 libicu72 libssl3 libyaml-cpp0.7 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin quantmoe \
 && install -d -o quantmoe -g quantmoe /data
ENV PATH=/opt/quantmoe/bin:$PATH QUANTMOE_LOG_FORMAT=json
COPY LICENSE NOTICE ./
COPY --from=build-server /opt/quantmoe/.deps/arrow-26.0.1/pyarrow/libarrow.so.2600 \
  /opt/quantmoe/.deps/arrow-26.0.1/pyarrow/libarrow_s3.so.2600 .deps/arrow-26.0.1/pyarrow/
VOLUME /data

FROM runtime AS server
COPY --from=build-server /opt/quantmoe/bin/quantmoe /opt/quantmoe/bin/quantmoe-server bin/
RUN ! ldd bin/quantmoe bin/quantmoe-server | grep 'not found'
USER 10001:10001
EXPOSE 7070 7071 7072
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s CMD ["quantmoe", "health"]
ENTRYPOINT ["quantmoe-server", "--data-dir", "/data"]

FROM runtime AS worker
COPY --from=build-worker /opt/quantmoe/.deps/torch-2.15.0/torch/lib .deps/torch-2.15.0/torch/lib
COPY --from=build-worker /opt/quantmoe/.deps/torch-2.15.0/nvidia/cu13/lib/libcudart.so.13 \
  /opt/quantmoe/.deps/torch-2.15.0/nvidia/cu13/lib/libcupti.so.13 .deps/torch-2.15.0/nvidia/cu13/lib/
COPY --from=build-worker /opt/quantmoe/bin/quantmoe-worker bin/
COPY --from=build-server /opt/quantmoe/bin/quantmoe bin/
RUN ! ldd bin/quantmoe bin/quantmoe-worker | grep 'not found'
USER 10001:10001
ENV QUANTMOE_HTTP_LISTEN=127.0.0.1:7073 QUANTMOE_SCRATCH_DIR=/data/scratch
EXPOSE 7073
# A worker that has lost its coordinator reconnects by itself: alive means that the process answers.
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s CMD ["bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/7073 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["quantmoe-worker"]
