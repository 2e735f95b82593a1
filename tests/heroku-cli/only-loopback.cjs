// Loaded into every Heroku CLI that the tests run: whoever wants to leave this machine ends.
'use strict';

const net = require('node:net');

const OURS = new Set(['127.0.0.1', 'localhost', '::1']);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  // net.connect() hands over its arguments as one normalized array.
  const [first, second] = Array.isArray(args[0]) ? args[0] : args;
  const target = typeof first === 'object' ? first : {port: first, host: second};
  const host = typeof target.host === 'string' ? target.host : 'localhost';
  if (!target.path && !OURS.has(host)) {
    process.stderr.write(`only-loopback: the CLI wanted to reach ${host}\n`);
    process.exit(97);
  }
  return connect.apply(this, args);
};
