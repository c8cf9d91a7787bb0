// A bot on oceanic.js, doing what it is asked for by lines (see lines.py). `node oceanic.mjs URL TOKEN`.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const { Client } = require('oceanic.js');

const [url, token] = process.argv.slice(2);
const write = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const tell = (event, facts = {}) => write({ event, ...facts });

const client = new Client({
  auth: `Bot ${token}`,
  gateway: { intents: ['ALL'] },
  rest: { baseURL: `${url}/api/v10` },
});

client.on('packet', ({ op, t, s, d }) => {
  if (op === 0) tell('dispatch', { t, s, message: d?.id, content: d?.content, seq: d?.seq });
  else tell('frame', { op });
});
client.on('ready', () => tell('ready', { user: client.user.id, guilds: [...client.guilds.keys()] }));
client.on('shardResume', () => tell('resumed'));
client.on('debug', (text) => console.error(String(text).replaceAll(token, '…')));
client.on('warn', (text) => console.error(text));
client.on('error', (error) => console.error(error));
client.on('messageCreate', (message) =>
  tell('message', { message: message.id, content: message.content, author: message.author.id }),
);

const { channels, guilds, users, webhooks, applications } = client.rest;

const verbs = {
  async send({ channel, content, nonce }) {
    return (await channels.createMessage(channel, { content, ...(nonce ? { nonce, enforceNonce: true } : {}) })).id;
  },
  async burst({ channel, contents }) {
    return Promise.all(contents.map((content) => verbs.send({ channel, content })));
  },
  async reply({ channel, message, content }) {
    const sent = await channels.createMessage(channel, { content, messageReference: { messageID: message } });
    return sent.messageReference.messageID;
  },
  async edit({ channel, message, content }) {
    return (await channels.editMessage(channel, message, { content })).content;
  },
  async delete({ channel, message }) {
    await channels.deleteMessage(channel, message);
  },
  async react({ channel, message, emoji }) {
    await channels.createReaction(channel, message, emoji);
    const fetched = await channels.getMessage(channel, message);
    return fetched.reactions.map((one) => [one.emoji.name, one.count, one.me]);
  },
  async type({ channel }) {
    await channels.sendTyping(channel);
  },
  async fetch({ channel, message }) {
    return (await channels.getMessage(channel, message)).content;
  },
  async page({ channel, how, cursor, limit = 50 }) {
    const page = await channels.getMessages(channel, { limit, ...(cursor ? { [how]: cursor } : {}) });
    return page.map((message) => message.id);
  },
  async pin({ channel, message }) {
    await channels.pinMessage(channel, message);
    return (await channels.getPins(channel)).map((pin) => pin.message.id);
  },
  async dm({ user, content }) {
    return verbs.send({ channel: (await users.createDM(user)).id, content });
  },
  async members({ guild }) {
    const listed = (await guilds.getMembers(guild, { limit: 1000 })).map((member) => member.id);
    const chunked = (await client.guilds.get(guild).fetchMembers()).map((member) => member.id);
    return String(listed.toSorted()) === String(chunked.toSorted()) ? listed : [...listed, 'chunked:', ...chunked];
  },
  async bulk_delete({ channel, messages }) {
    await channels.deleteMessages(channel, messages);
  },
  async commands() {
    const options = [{ type: 3, name: 'text', description: 'What', required: true }];
    const echo = { type: 1, name: 'echo', description: 'Say it again', options };
    const set = await applications.bulkEditGlobalCommands(client.user.id, [echo]);
    return set.map((command) => command.name);
  },
  async webhook({ channel, content }) {
    const made = await webhooks.create(channel, { name: 'messenger' });
    const sent = await webhooks.execute(made.id, made.token, { content, username: 'Messenger', wait: true });
    await webhooks.delete(made.id);
    return sent.id;
  },
  // Make a role, a channel and an invite; give the role to a member; ban and unban them.
  async manage({ guild, user }) {
    const role = await guilds.createRole(guild, { name: 'helper', permissions: 1n << 13n });
    await guilds.addMemberRole(guild, user, role.id);
    const hasRole = (await guilds.getMember(guild, user)).roles.includes(role.id);
    const made = await guilds.createChannel(guild, 0, { name: 'bots', topic: 'for bots' });
    const invite = await channels.createInvite(made.id, { maxAge: 60 });
    await channels.edit(made.id, { topic: 'changed' });
    const topic = (await channels.get(made.id)).topic;
    await channels.delete(made.id);
    await guilds.createBan(guild, user, { reason: 'a trial' });
    const banned = (await guilds.getBans(guild)).map((ban) => ban.user.id);
    await guilds.removeBan(guild, user);
    return { has_role: hasRole, invite: Boolean(invite.code), topic, banned };
  },
};

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, do: verb, ...given } = JSON.parse(line);
    try {
      write({ id, ok: (await verbs[verb](given)) ?? null });
    } catch (error) {
      write({ id, error: `${error.name}: ${error.message}` });
    }
  })
  .on('close', () => process.exit(0));

await client.connect();
