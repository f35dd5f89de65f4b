// jsforce against the emulator: one step after the other, their results as one JSON object.
// node trial.cjs FOLDER_WITH_NODE_MODULES CREDENTIALS_JSON
const { createRequire } = require('module');
const jsforce = createRequire(`${process.argv[2]}/x.js`)('jsforce');
const known = JSON.parse(process.argv[3]);

async function main() {
  const out = {};
  const conn = new jsforce.Connection({ loginUrl: known.url, version: '60.0' });
  const user = await conn.login(known.username, known.password + known.security_token);
  out.login = [user.organizationId, conn.instanceUrl];
  out.wrongLogin = await new jsforce.Connection({ loginUrl: known.url, version: '60.0' })
    .login('nobody', 'wrong').then(() => null, (error) => [error.errorCode ?? error.name, error.message]);
  out.identity = (await conn.identity()).username;

  const created = await conn.sobject('Account').create({ Name: 'Acme', BillingCity: 'Utrecht' });
  const many = await conn.sobject('Contact').create(
    [...Array(3).keys()].map((n) => ({ LastName: `Contact ${n}`, AccountId: created.id })).concat([{ FirstName: 'nameless' }]),
    { allOrNone: false, allowRecursive: true });
  out.collection = many.map((result) => result.success || result.errors[0].statusCode);
  out.upsert = [];
  for (const name of ['One', 'Uno']) {
    const result = await conn.sobject('PeerSpot_Vendor_Product__c').upsert({ PeerSpot_Product_Id__c: '1', Name: name }, 'PeerSpot_Product_Id__c');
    out.upsert.push([result.success, result.created]);
  }
  const found = await conn.query('SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName), Owner.Name FROM Account');
  out.query = [found.totalSize, found.records[0].Contacts.totalSize, found.records[0].Owner.Name];
  out.find = (await conn.sobject('Contact').find({ LastName: { $like: 'Contact%' } }, ['LastName']).sort('LastName').limit(2)).map((row) => row.LastName);
  out.badQuery = await conn.query('SELECT Nope FROM Account').then(() => null, (error) => error.errorCode);
  out.missing = await conn.sobject('Account').retrieve('0015g0000009999AAA').then(() => null, (error) => error.errorCode);
  out.describe = (await conn.sobject('Lead').describe()).fields.find((field) => field.name === 'Company').nillable;
  out.search = (await conn.search('FIND {Acme} IN ALL FIELDS RETURNING Account(Id, Name)')).searchRecords.map((row) => row.Name);
  out.tooling = (await conn.tooling.query("SELECT QualifiedApiName FROM EntityDefinition WHERE QualifiedApiName = 'Lead'")).totalSize;

  const rows = [{ Name: 'Bulk 1', Phone: '1' }, { Name: 'Bulk 2', Phone: '2' }, { Name: '', Phone: '3' }];
  out.bulk1 = (await conn.bulk.load('Account', 'insert', rows)).map((result) => result.success);
  const loaded = await conn.bulk2.loadAndWaitForResults({ object: 'Account', operation: 'insert', input: rows, pollInterval: 50, pollTimeout: 20000 });
  out.bulk2 = [loaded.successfulResults.length, loaded.failedResults.map((row) => row.sf__Error.split(':')[0]), loaded.unprocessedRecords.length];
  const stream = await conn.bulk2.query("SELECT Name FROM Account WHERE Name LIKE 'Bulk%' ", { pollInterval: 50, pollTimeout: 20000 });
  out.bulk2Query = (await stream.toArray()).length;

  const field = { fullName: 'Account.Tier__c', label: 'Tier', type: 'Text', length: 20 };
  out.metadata = (await conn.metadata.create('CustomField', field)).success;
  out.metadataRead = (await conn.metadata.read('CustomField', 'Account.Tier__c')).label;
  out.newField = (await conn.sobject('Account').update({ Id: created.id, Tier__c: 'Gold' })).success;
  const lead = await conn.sobject('Lead').create({ LastName: 'Lead', Company: 'Acme' });
  out.convert = (await conn.soap.convertLead({ leadId: lead.id, convertedStatus: 'Closed - Converted' })).success;
  out.converted = await conn.sobject('Lead').update({ Id: lead.id, Phone: '1' }).then(() => null, (error) => error.errorCode);

  const refreshed = [];
  const renewing = new jsforce.Connection({
    oauth2: { loginUrl: known.url, clientId: known.consumer_key, clientSecret: known.consumer_secret, redirectUri: 'http://127.0.0.1/x' },
    instanceUrl: known.url, accessToken: 'expired', refreshToken: known.refresh_token, version: '60.0',
  });
  renewing.on('refresh', () => refreshed.push(true));
  out.refresh = [(await renewing.query('SELECT Id FROM Account LIMIT 1')).totalSize, refreshed.length];
  out.limitInfo = conn.limitInfo.apiUsage.limit;
  await conn.logout();
  out.afterLogout = await new jsforce.Connection({ instanceUrl: known.url, accessToken: user.accessToken ?? 'gone', version: '60.0' })
    .query('SELECT Id FROM Account').then(() => null, (error) => error.errorCode);
  console.log(JSON.stringify(out));
}

main().catch((error) => { console.error(error); process.exit(1); });
