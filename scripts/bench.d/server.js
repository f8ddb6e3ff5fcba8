// The node program that is measured: 12 bytes, and how many requests there were. Prints `listening PORT`.
const http = require('http');

let seen = 0;
const server = http.createServer((req, res) => {
  seen++;
  const body = req.url === '/count' ? String(seen) : 'hello world\n';
  res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  res.end(body);
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeAllConnections(); });
