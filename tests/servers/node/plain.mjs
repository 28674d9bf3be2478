// nodemailer's smtp-server without TLS and login: node plain.mjs PORT FOLDER
// Takes mail for example.com; each message becomes one file of a line of recipients and the content.
import fs from "node:fs";
import path from "node:path";
import { SMTPServer } from "smtp-server";

const [port, folder] = process.argv.slice(2);
const refusals = { nouser: [550, "5.1.1 No such user"], busy: [450, "4.2.1 Mailbox busy"] };
let taken = 0;

function refusal(address) {
  if (!address.endsWith("@example.com")) return [550, "5.7.1 Relay not permitted"];
  const word = Object.keys(refusals).find((one) => address.startsWith(one));
  return word && refusals[word];
}

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ["STARTTLS", "AUTH"],
  disableReverseLookup: true,
  onRcptTo({ address }, session, done) {
    const said = refusal(address);
    done(said ? Object.assign(new Error(said[1]), { responseCode: said[0] }) : null);
  },
  onData(stream, session, done) {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      const name = path.join(folder, `${process.pid}-${taken++}`);
      const recipients = session.envelope.rcptTo.map((recipient) => recipient.address).join(" ");
      fs.writeFileSync(`${name}.part`, Buffer.concat([Buffer.from(`${recipients}\n`), ...chunks]));
      fs.renameSync(`${name}.part`, `${name}.taken`);
      done(null, "kept");
    });
  },
});
server.on("error", () => {}); // a client that leaves is a client's right
server.listen(Number(port), "127.0.0.1");
