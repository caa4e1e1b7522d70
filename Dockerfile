# The layer in a container: `npm start` without npm, as a user without rights.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json serverless.yml tsconfig.json ./
COPY functions ./functions
COPY iot-rules ./iot-rules
COPY lib ./lib
COPY local ./local
RUN mkdir /data && chown node /data
USER node
VOLUME /data
EXPOSE 5000 1883 9001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 5000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--enable-source-maps", "--import", "tsx", "local/start.ts"]
