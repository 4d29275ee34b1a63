// pds.mjs PORT PORT: a real Bluesky PDS on loopback, with the directory of identities that it asks,
// and one account. Prints one line of JSON: where it is and how to log in. Ends when its standard input does.
// Nothing else is there: no relay, no AppView. As @atproto/dev-env does it, without the rest.
import { mkdtemp, rm } from 'node:fs/promises'
import { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Secp256k1Keypair } from '@atproto/crypto'
import pds from '@atproto/pds'
import { envToCfg, envToSecrets } from '@atproto/pds'
import plc from '@did-plc/server'

const PASSWORD = 'made up for a test'
const HANDLE = 'our-posters.test'

// Both would listen on every address of this machine.
const { listen } = Server.prototype
Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, port, '127.0.0.1', ...rest.filter((one) => typeof one === 'function'))
}

async function ask(url, method, question, token) {
  const answer = await fetch(`${url}/xrpc/${method}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
    },
    body: JSON.stringify(question),
  })
  if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const folder = await mkdtemp(join(tmpdir(), 'pds-'))
const [plcPort, port] = process.argv.slice(2).map(Number)
const directory = plc.PlcServer.create({ db: plc.Database.mock(), port: plcPort })
await directory.start()

const url = `http://localhost:${port}`
const rotation = await Secp256k1Keypair.create({ exportable: true })
const settings = {
  devMode: true,
  port,
  hostname: 'localhost',
  dataDirectory: folder,
  blobstoreDiskLocation: join(folder, 'blobs'),
  didPlcUrl: `http://localhost:${plcPort}`,
  recoveryDidKey: (await Secp256k1Keypair.create()).did(),
  plcRotationKeyK256PrivateKeyHex: Buffer.from(await rotation.export()).toString('hex'),
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  disableSsrfProtection: true,
  adminPassword: PASSWORD,
  jwtSecret: PASSWORD,
}
const server = await pds.create(envToCfg(settings), envToSecrets(settings))
await server.start()

const account = await ask(url, 'com.atproto.server.createAccount', {
  handle: HANDLE,
  email: 'campaign@example.org',
  password: PASSWORD,
})
const app = await ask(
  url,
  'com.atproto.server.createAppPassword',
  { name: 'desk' },
  account.accessJwt,
)
console.log(JSON.stringify({ url, identifier: HANDLE, did: account.did, password: app.password }))

process.stdin.resume()
process.stdin.on('end', async () => {
  await rm(folder, { recursive: true, force: true })
  process.exit(0)
})
