// A chat server on Socket.IO that keeps rooms in memory: what `--wire socket-io` puts load on.
//
//   npm install socket.io && node server.mjs [PORT]
//
// Its events are this tool's own convention (loadtest/src/light/wire/socket_io.rs): Socket.IO leaves names
// and meaning to the server. Nothing is authenticated and nothing is kept but each room's newest messages.
import { createServer } from "node:http";
import { Server } from "socket.io";

const KEPT = 1024;
const rooms = new Map();
const room = (name) => {
  if (!rooms.has(name)) rooms.set(name, { head: 0, newest: [] });
  return rooms.get(name);
};

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  socket.on("open", (name, done) => {
    room(name);
    done({});
  });
  socket.on("join", (name, after, done) => {
    const { head } = room(name);
    socket.join(name);
    if (typeof after === "function") after({ room: name, head });
    // Events missed are not sent again: whoever missed some begins anew.
    else done({ room: name, head, reset: after !== head });
  });
  socket.on("send", (name, text, done) => {
    const its = room(name);
    const event = { room: name, offset: ++its.head, text };
    its.newest.push(event);
    if (its.newest.length > KEPT) its.newest.shift();
    io.to(name).emit("event", event);
    done({ offset: event.offset });
  });
  socket.on("typing", (name, done) => {
    socket.to(name).emit("typing", name);
    done({});
  });
  socket.on("read", (_name, _offset, done) => done({}));
  socket.on("history", (name, done) => done({ room: name, events: room(name).newest.slice(-50) }));
  socket.on("head", (name, done) => done({ head: room(name).head }));
});

http.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${http.address().port}`, pid: process.pid }));
});
