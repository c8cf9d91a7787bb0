// One of two nodes on Socket.IO with its Redis adapter: a room of all, and each user's own.
// `node --expose-gc socket_io_redis.mjs PORT REDIS_URL`
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const [port, url] = process.argv.slice(2);
const server = createServer();
const io = new Server(server, {
  transports: ["websocket"],
  // No heartbeats: nobody else in this comparison has any.
  pingInterval: 3600_000,
  pingTimeout: 3600_000,
  adapter: createAdapter(new Redis(url), new Redis(url)),
});
io.on("connection", (socket) => {
  socket.join(["room", `user:${socket.handshake.query.user}`]);
  socket.on("message", (text) => io.to("room").emit("message", text));
  socket.on("direct", (name, text) => io.to(`user:${name}`).emit("message", text));
  socket.emit("joined");
});
server.listen({ host: "127.0.0.1", port: Number(port) });
process.on("SIGUSR2", () => { globalThis.gc(); globalThis.gc(); });
