# A static binary and nothing else: no shell, no package to update, no user database.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /mxseal ./cmd/mxseal \
    && mkdir -m 0700 /data

FROM scratch
COPY --from=build /mxseal /mxseal
# Numeric, so that Kubernetes can tell that it is not root (runAsNonRoot). The data directory belongs to it, and the file
# of the key-encryption key has to.
COPY --from=build --chown=65532:65532 /data /var/lib/mxseal
USER 65532:65532
# Port 53 needs CAP_NET_BIND_SERVICE (docker run --cap-add, or sysctl net.ipv4.ip_unprivileged_port_start=53).
EXPOSE 53/udp 53/tcp 8053/tcp 9153/tcp
VOLUME /var/lib/mxseal
ENTRYPOINT ["/mxseal"]
CMD ["serve", "--config", "/etc/mxseal/mxseal.yaml"]
