# The server as `npm start` runs it. Debian and not Alpine: the binaries of libSQL exist for both, those of Node for Debian only.
FROM node:24.18.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY serverless.yml ./
COPY cli ./cli
COPY dashboard ./dashboard
COPY functions ./functions
COPY iot-rules ./iot-rules
COPY lib ./lib
COPY local ./local
COPY scripts ./scripts
# The container runs as a user who cannot write here: its first start finds the programs built.
RUN node scripts/run.mjs --build local/start.ts cli/iotflow.ts

FROM node:24.18.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /app
RUN install -d -o node -g node -m 700 /data
COPY --from=build /app ./
USER node
VOLUME /data
EXPOSE 5000 1883 8883 9001
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
  CMD ["node", "local/stack/container-health.ts"]
# Node itself and not npm: npm would not hand the signal of Docker on before it ends.
CMD ["node", "--max-semi-space-size=32", "scripts/run.mjs", "local/start.ts"]
