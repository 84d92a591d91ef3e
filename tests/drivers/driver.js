// node-pg as one of the clients of tests/drivers.rs: does what it is told and prints what it gets. The connection is
// libpq's environment; the test judges.
//
//   ask QUESTIONS        prepared statements with parameters, and a transaction
//   read text|binary     every row of drivers.numbers, folded

const fs = require('fs')
const { Client } = require('pg')

const NATIVE = {
  int4: Number,
  int8: String, // a number would lose digits
  text: String,
  numeric: String,
  date: String,
  timestamptz: text => new Date(text),
  bool: text => text === 'true',
  float8: Number
}

function native (parameter) {
  const space = parameter.indexOf(' ')
  const [of, value] = [parameter.slice(0, space), parameter.slice(space + 1)]
  if (value === '∅') return null
  if (of.endsWith('[]')) return value === 'ε' ? [] : value.split('¦').map(v => native(`${of.slice(0, -2)} ${v}`))
  return NATIVE[of](value.replace('ε', ''))
}

function * questions (path) {
  let sql
  for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
    if (line.startsWith(' ')) yield [sql, line.trim().split(' ; ').map(native)]
    else if (line !== '' && !line.startsWith('#')) sql = line
  }
}

async function answer (client, query) {
  try {
    const { command, rowCount, fields, rows } = await client.query({ ...query, rowMode: 'array' })
    return JSON.stringify([command, rowCount, fields.map(f => [f.name, f.dataTypeID]), rows])
  } catch (error) {
    return `${error.code} ${error.message}`
  }
}

async function ask (client, path) {
  const names = new Map()
  for (const [text, values] of questions(path)) {
    if (!names.has(text)) names.set(text, `q${names.size}`)
    console.log([text, JSON.stringify(values), await answer(client, { name: names.get(text), text, values })].join('\n  '))
  }
  // Sent at once: the client queues them, the answers come in order.
  const queued = Array.from({ length: 50 }, (_, n) => client.query('SELECT $1::int8 * 2::int8 AS n', [n]))
  console.log('queued', (await Promise.all(queued)).map(result => result.rows[0].n).join(' '))
  for (const text of ['BEGIN', 'SELECT id / 0 FROM drivers.numbers', 'SELECT 1', 'ROLLBACK', "SELECT 'goes on'"]) {
    console.log('transaction', text, await answer(client, { text }))
  }
}

// node-pg's binary mode reads neither date nor numeric without loss: it is asked for what it can.
const COLUMNS = {
  text: 'id, small, amount, name, note, day, at, flag, ratio',
  binary: 'id, small, (amount * 100)::int8 AS amount, name, note, day - date \'2000-01-01\' AS day, at, flag, ratio'
}

async function read (client, format) {
  const cents = format === 'text' ? text => BigInt(text.replace('.', '')) : BigInt
  const day = format === 'text' ? date => Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(2000, 0, 1)) / 864e5) : Number
  const begin = process.hrtime.bigint()
  const { rows } = await client.query({ text: `SELECT ${COLUMNS[format]} FROM drivers.numbers`, rowMode: 'array', binary: format === 'binary' })
  let [ids, smalls, amounts, letters, notes, days, seconds, flags, ratios] = [0, 0, 0n, 0, 0, 0, 0, 0, 0]
  for (const row of rows) {
    ids += Number(row[0])
    smalls += row[1]
    amounts += cents(row[2])
    letters += row[3].length
    notes += row[4] === null ? 0 : 1
    days += day(row[5])
    seconds += Math.round(row[6].getTime() / 1000)
    flags += row[7] ? 1 : 0
    ratios += row[8]
  }
  const took = Number(process.hrtime.bigint() - begin) / 1e9
  const amount = `${amounts / 100n}.${String(amounts % 100n).padStart(2, '0')}`
  console.log('folded', rows.length, ids, smalls, amount, letters, notes, days, seconds, flags, Math.floor(ratios))
  console.log(`seconds ${took.toFixed(2)}`)
}

async function main (verb, argument) {
  const ssl = { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') }
  const client = new Client({ ssl, enableChannelBinding: true })
  await client.connect()
  if (!client.connection.stream.encrypted) throw new Error('no TLS')
  await (verb === 'ask' ? ask : read)(client, argument)
  await client.end()
}

main(...process.argv.slice(2)).catch(error => {
  console.error(error)
  process.exit(1)
})
