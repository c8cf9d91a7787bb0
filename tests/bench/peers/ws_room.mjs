// A room on Node's `ws`: whatever a client says goes to all. `node --expose-gc ws_room.mjs PORT`
import { WebSocket, WebSocketServer } from "ws";

const room = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), path: "/" });
room.on("connection", (socket) => {
  socket.on("message", (data) => {
    for (const client of room.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
  });
  socket.send("joined");
});
// So that what is measured is what is used, not what waits to be collected.
process.on("SIGUSR2", () => { globalThis.gc(); globalThis.gc(); });
