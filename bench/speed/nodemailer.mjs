// One job for Nodemailer: `node nodemailer.mjs MODULE PORT COUNT CONNECTIONS [cold]` prints seconds and CPU seconds.
import { createRequire } from "node:module";

const [modulePath, port, count, connections, temperature] = process.argv.slice(2);
const nodemailer = createRequire(import.meta.url)(modulePath);
const transport = nodemailer.createTransport({
  host: "127.0.0.1",
  port: Number(port),
  ignoreTLS: true,
  pool: true,
  maxConnections: Number(connections),
  maxMessages: Infinity,
});
const text = "Dear Ms Example,\n\nwe have your order, and your payment.\n".repeat(12);
const html = "<p>Dear <b>Ms Example</b>, we have your order, and your payment.</p>\n".repeat(12);
const message = (number) => ({
  from: "shop@example.org",
  to: `customer${number}@example.net`,
  subject: `Your order ${number}`,
  text: `${text}${number}`,
  html: `${html}${number}`,
});
if (temperature !== "cold") {
  await Promise.all(Array.from({ length: Number(connections) }, () => transport.sendMail(message(-1))));
}
const started = performance.now();
const cpuStarted = process.cpuUsage();
await Promise.all(Array.from({ length: Number(count) }, (_, number) => transport.sendMail(message(number))));
const cpu = process.cpuUsage(cpuStarted);
console.log(JSON.stringify({ seconds: (performance.now() - started) / 1000, cpu: (cpu.user + cpu.system) / 1e6 }));
transport.close();
