# The layer as `npm start` runs it. Debian and not Alpine: what libSQL brings is built for both, Node itself for this one.
FROM node:24.18.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM node:24.18.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /app
RUN install -d -o node -g node -m 700 /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json serverless.yml ./
COPY functions ./functions
COPY iot-rules ./iot-rules
COPY lib ./lib
COPY local ./local
USER node
VOLUME /data
EXPOSE 5000 1883 8883 9001
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
  CMD ["node", "local/container-health.ts"]
# Node itself and not npm: it ends in good order when Docker says so.
CMD ["node", "--enable-source-maps", "--max-semi-space-size=32", "--import", "tsx", "local/start.ts"]
