// Usage: node open.mjs IDENTITY ENVELOPE > plaintext. Stock age: nothing of ours.
import { Decrypter } from "age-encryption";
import { readFileSync } from "node:fs";

const [identityFile, envelope] = process.argv.slice(2);
const decrypter = new Decrypter();
decrypter.addIdentity(readFileSync(identityFile, "utf8").trim());
process.stdout.write(await decrypter.decrypt(readFileSync(envelope)));
