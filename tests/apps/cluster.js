// node cluster.js WORKERS: the primary accepts and passes connections to its workers.
// Prints `listening PORT` when all workers are ready.
const cluster = require('cluster');
const http = require('http');

if (cluster.isPrimary) {
  const n = Number(process.argv[2] || 2);
  let ready = 0;
  cluster.on('listening', (worker, address) => {
    if (++ready === n) console.log(`listening ${address.port}`);
  });
  // Port 0 is shared by the workers of one primary.
  for (let i = 0; i < n; i++) cluster.fork();
  process.on('SIGTERM', () => {
    for (const w of Object.values(cluster.workers)) w.process.kill('SIGTERM');
    cluster.disconnect(() => process.exit(0));
  });
} else {
  http.createServer((req, res) => res.end(`${process.pid}\n`)).listen(0, '127.0.0.1');
  process.on('SIGTERM', () => process.exit(0));
}
