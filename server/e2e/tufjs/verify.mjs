// verify.mjs ROOT URL FOLDER TARGET…: verifies a repository with tuf-js, which
// shares no code with go-tuf, and downloads targets from it into FOLDER. It
// prints a line for each: its SHA-256, its size, and what it was written to.
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Updater } from 'tuf-js'

const [root, url, folder, ...targets] = process.argv.slice(2)
const metadataDir = join(folder, 'metadata')
const targetDir = join(folder, 'targets')
mkdirSync(metadataDir, { recursive: true })
mkdirSync(targetDir, { recursive: true })
copyFileSync(root, join(metadataDir, 'root.json'))

const updater = new Updater({ metadataDir, metadataBaseUrl: url, targetDir, targetBaseUrl: `${url}/targets` })
await updater.refresh()
for (const name of targets) {
	const info = await updater.getTargetInfo(name)
	if (!info) throw new Error(`there is no target ${name}`)
	const file = await updater.downloadTarget(info, join(targetDir, createHash('sha256').update(name).digest('hex')))
	const bytes = readFileSync(file)
	console.log(createHash('sha256').update(bytes).digest('hex'), bytes.length, file)
}
