// Usage: node seal.mjs RECIPIENT… < plaintext > file. A recipient that is none is a passphrase.
// Stock age: nothing of ours.
import { Encrypter } from "age-encryption";
import { readFileSync } from "node:fs";

const encrypter = new Encrypter();
for (const recipient of process.argv.slice(2)) {
  if (recipient.startsWith("age1")) encrypter.addRecipient(recipient);
  else {
    encrypter.setPassphrase(recipient);
    encrypter.setScryptWorkFactor(10);
  }
}
process.stdout.write(await encrypter.encrypt(readFileSync(0)));
