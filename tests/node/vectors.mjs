// Usage: node vectors.mjs > JSON: the name of each public test vector of age, and its bytes in base64.
import * as vectors from "cctv-age";

const named = Object.entries(vectors).map(([name, raw]) => [name, Buffer.from(raw).toString("base64")]);
process.stdout.write(JSON.stringify(Object.fromEntries(named)));
