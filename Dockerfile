# normed in a slim image. Build and run in a clone of the repository:
#
#     docker build -t normed .
#     docker run --rm -v "$PWD:/work" normed train recipes/quickstart.toml
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release --package normed-cli

FROM debian:bookworm-slim
COPY --from=build /source/target/release/normed /usr/local/bin/normed
COPY LICENSE-APACHE LICENSE-MIT THIRD-PARTY.md /usr/share/doc/normed/
RUN useradd --uid 1000 --create-home normed
USER 1000
WORKDIR /work
ENTRYPOINT ["normed"]
CMD ["--help"]
