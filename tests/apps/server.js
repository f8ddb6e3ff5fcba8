// A small node http server. Prints `listening PORT`.
// /call asks UPSTREAM with http.request, /fetch with fetch; both pass on what they got.
const http = require('http');

const agent = new http.Agent({ keepAlive: true });

function call(path, done) {
  http.get(process.env.UPSTREAM + path, { agent }, (res) => {
    let n = 0;
    res.on('data', (d) => { n += d.length; });
    res.on('end', () => done(res.statusCode, n));
  }).on('error', (e) => done(e.code, 0));
}

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  const send = (status, body) => {
    res.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) });
    res.end(body);
  };
  if (url.pathname === '/call') {
    call('/ok' + url.search, (code, n) => send(200, `${code} ${n}\n`));
  } else if (url.pathname === '/fetch') {
    fetch(process.env.UPSTREAM + '/ok' + url.search).then(async (r) => send(200, `${r.status} ${(await r.text()).length}\n`),
      (e) => send(502, `${e}\n`));
  } else if (url.pathname === '/stream') {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    let i = 0;
    const next = () => { if (i++ < 5) { res.write(`line ${i}\n`); setImmediate(next); } else res.end(); };
    next();
  } else if (url.pathname === '/slow') {
    setTimeout(() => send(200, 'slow\n'), Number(url.searchParams.get('ms') || 100));
  } else if (url.pathname === '/broken') {
    send(500, 'broken\n');
  } else if (url.pathname === '/missing') {
    send(404, 'missing\n');
  } else if (url.pathname === '/echo') {
    const parts = [];
    req.on('data', (d) => parts.push(d));
    req.on('end', () => send(200, Buffer.concat(parts)));
  } else {
    send(200, 'hello\n');
  }
});
server.keepAliveTimeout = 30000;
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeAllConnections(); });
