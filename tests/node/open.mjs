// Usage: node open.mjs IDENTITY ENVELOPE > plaintext. Stock age: nothing of ours.
// An identity file with another first line than an identity holds a passphrase.
import { armor, Decrypter } from "age-encryption";
import { readFileSync } from "node:fs";

const [identityFile, envelope] = process.argv.slice(2);
const secret = readFileSync(identityFile, "utf8").trim();
const decrypter = new Decrypter();
if (secret.startsWith("AGE-SECRET-KEY-")) decrypter.addIdentity(secret);
else decrypter.addPassphrase(secret);
const sealed = readFileSync(envelope);
const isArmored = sealed.toString("latin1").startsWith("-----BEGIN");
process.stdout.write(await decrypter.decrypt(isArmored ? armor.decode(sealed.toString()) : sealed));
