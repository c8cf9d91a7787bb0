// A room on Socket.IO: whatever a client says goes to all. `node --expose-gc socket_io_room.mjs PORT`
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
// No heartbeats: nobody else in this comparison has any.
const io = new Server(server, { transports: ["websocket"], pingInterval: 3600_000, pingTimeout: 3600_000 });
io.on("connection", (socket) => {
  socket.join("room");
  socket.on("message", (text) => io.to("room").emit("message", text));
  socket.emit("joined");
});
server.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
// So that what is measured is what is used, not what waits to be collected.
process.on("SIGUSR2", () => { globalThis.gc(); globalThis.gc(); });
