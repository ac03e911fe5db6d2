# The command alone, on a base without a shell, run by nobody in particular. docs/packaging.md says how it is used,
# and tests/packaging.sh goes through the same steps without Docker.

# The builder and the base are of the same Debian: the command is linked against its libc.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# .cargo/config.toml has the flags; the simulator is not built.
RUN cargo build --release --locked --package adit --bin adit && strip target/release/adit

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/adit /adit
USER nonroot
WORKDIR /etc/adit
# Control, proxy connections, visitors. Metrics and admin stay on loopback unless a file says otherwise.
EXPOSE 7000 7001 8080
# Asks admin.listen, which a server has by default; clients and forwarders need it in their file.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/adit", "health"]
# The first SIGTERM drains.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/adit"]
CMD ["--help"]
