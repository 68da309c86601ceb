// provenance.mjs TARGETS PROVENANCE EXECUTABLE: verifies with sigstore's library
// that an attestation (DSSE, in-toto, SLSA) is signed by a key of builds, which
// TARGETS, the repository's verified targets metadata, names; and that it is of
// that executable. It prints what the executable was built from.
import { crypto, dsse } from '@sigstore/core'
import { createHash, createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'

const [targets, provenance, executable] = process.argv.slice(2)
const { keys } = JSON.parse(readFileSync(targets)).signed.delegations
const envelope = JSON.parse(readFileSync(provenance))
const payload = Buffer.from(envelope.payload, 'base64')
const signedBytes = dsse.preAuthEncoding(envelope.payloadType, payload)
const good = envelope.signatures.some(({ keyid, sig }) => {
	if (!keys[keyid]) return false
	const x = Buffer.from(keys[keyid].keyval.public, 'hex').toString('base64url')
	const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
	return crypto.verify(signedBytes, key, Buffer.from(sig, 'base64'))
})
if (!good) throw new Error('the attestation is not signed by a key of builds')
const statement = JSON.parse(payload)
const sha256 = createHash('sha256').update(readFileSync(executable)).digest('hex')
if (!statement.subject.some((s) => s.digest.sha256 === sha256)) throw new Error('the attestation is of another executable')
console.log(JSON.stringify(statement.predicate.buildDefinition.externalParameters))
