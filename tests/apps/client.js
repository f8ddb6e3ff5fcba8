// node client.js http|fetch METHOD URL... [--body TEXT]; prints `STATUS LENGTH MD5` or `error CODE`
const http = require('http');
const https = require('https');
const crypto = require('crypto');

const args = process.argv.slice(2);
let body;
const at = args.indexOf('--body');
if (at >= 0) { body = args[at + 1]; args.splice(at, 2); }
const [how, method, ...urls] = args;

const report = (status, data) => console.log(status, data.length, crypto.createHash('md5').update(data).digest('hex'));

function withHttp(url) {
  return new Promise((resolve) => {
    const lib = url.startsWith('https') ? https : http;
    const req = lib.request(url, { method, headers: body ? { 'Content-Length': Buffer.byteLength(body) } : {} }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => { report(res.statusCode, Buffer.concat(parts)); resolve(); });
      res.on('error', (e) => { console.log('error', e.code); resolve(); });
    });
    req.on('error', (e) => { console.log('error', e.code); resolve(); });
    req.end(body);
  });
}

async function withFetch(url) {
  try {
    const r = await fetch(url, { method, body });
    report(r.status, Buffer.from(await r.arrayBuffer()));
  } catch (e) {
    console.log('error', (e.cause && e.cause.code) || e.name);
  }
}

(async () => {
  for (const url of urls) await (how === 'fetch' ? withFetch(url) : withHttp(url));
})();
