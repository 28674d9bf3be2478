// nodemailer's smtp-server as a submission server with XOAUTH2: node server.mjs CONFIG.json
// CONFIG names the certificate, the account, the file of valid access tokens and the folder for what is taken; each
// message becomes one JSON file there. Prints the port when it listens.
import fs from "node:fs";
import path from "node:path";
import { SMTPServer } from "smtp-server";

const config = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const refusals = {
  nouser: [550, "5.1.1 No such user"],
  busy: [450, "4.2.1 Mailbox busy"],
  full: [452, "4.2.2 Mailbox full"],
};
let taken = 0;

function refuse([code, text]) {
  return Object.assign(new Error(text), { responseCode: code });
}

// Read at each login, so that a test can let a token expire.
function isValidToken(token) {
  return fs.readFileSync(config.tokens, "utf8").split("\n").includes(token);
}

const server = new SMTPServer({
  key: fs.readFileSync(config.key),
  cert: fs.readFileSync(config.certificate),
  secure: config.implicitTls,
  size: config.sizeLimit,
  authMethods: ["PLAIN", "LOGIN", "XOAUTH2"],
  disableReverseLookup: true,
  onAuth(auth, session, done) {
    const good =
      auth.username === config.username &&
      (auth.method === "XOAUTH2" ? isValidToken(auth.accessToken) : auth.password === config.password);
    if (good) return done(null, { user: `${auth.method} ${auth.username}` });
    if (auth.method === "XOAUTH2") return done(null, { data: { status: "401", schemes: "bearer", scope: "mail" } });
    done(refuse([535, "5.7.8 Authentication credentials invalid"]));
  },
  onRcptTo(address, session, done) {
    const refusal = refusals[address.address.split("@")[0]];
    done(refusal ? refuse(refusal) : null);
  },
  onData(stream, session, done) {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      if (stream.sizeExceeded) return done(refuse([552, "5.3.4 Message too big"]));
      const name = String(taken++).padStart(6, "0");
      const record = {
        sender: session.envelope.mailFrom.address,
        recipients: session.envelope.rcptTo.map((recipient) => recipient.address),
        login: session.user,
        content: Buffer.concat(chunks).toString("base64"),
      };
      fs.writeFileSync(path.join(config.folder, `${name}.part`), JSON.stringify(record));
      fs.renameSync(path.join(config.folder, `${name}.part`), path.join(config.folder, `${name}.json`));
      done(null, `queued as ${name}`);
    });
  },
});
server.on("error", () => {}); // a client that leaves is a client's right
server.listen(config.port, "127.0.0.1", () => console.log(server.server.address().port));
process.stdin.resume().on("end", () => process.exit(0)); // ends with the test run, however that ended
