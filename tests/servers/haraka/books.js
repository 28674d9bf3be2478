// Haraka's plugin: takes mail for example.com, and keeps each message as one file of envelope and content.
const fs = require("node:fs");
const path = require("node:path");

exports.register = function () {
  this.register_hook("lookup_rdns", "name_the_client");
  this.register_hook("rcpt", "judge_recipient");
  this.register_hook("queue", "keep");
};

// There is no DNS here.
exports.name_the_client = function (next) {
  next(OK, "localhost");
};

exports.judge_recipient = function (next, connection, [recipient]) {
  if (recipient.host !== "example.com") return next(DENY, "5.7.1 Relay not permitted");
  if (recipient.user.startsWith("nouser")) return next(DENY, "5.1.1 No such user");
  if (recipient.user.startsWith("busy")) return next(DENYSOFT, "4.2.1 Mailbox busy");
  next(OK);
};

exports.keep = function (next, connection) {
  const { transaction } = connection;
  const folder = path.join(process.env.HARAKA, "taken");
  const part = path.join(folder, `${transaction.uuid}.part`);
  const file = fs.createWriteStream(part);
  file.write(`${transaction.rcpt_to.map((recipient) => `${recipient.user}@${recipient.host}`).join(" ")}\n`);
  file.on("finish", () => {
    fs.renameSync(part, path.join(folder, `${transaction.uuid}.taken`));
    next(OK, "kept");
  });
  transaction.message_stream.pipe(file);
};
