// A bot on discord.js, doing what it is asked for by lines (see lines.py). `node discordjs.mjs URL TOKEN`.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const { Client, GatewayIntentBits, Options, Partials, PermissionFlagsBits, Events } = require('discord.js');

const [url, token] = process.argv.slice(2);
const write = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const tell = (event, facts = {}) => write({ event, ...facts });

const client = new Client({
  intents: Object.values(GatewayIntentBits).filter((bit) => typeof bit === 'number'),
  partials: [Partials.Channel],
  rest: { api: `${url}/api`, version: '10' },
});

client.on(Events.Raw, ({ op, t, s, d }) => {
  if (op === 0) tell('dispatch', { t, s, message: d?.id, content: d?.content, seq: d?.seq });
  else tell('frame', { op });
});
client.on(Events.ClientReady, () => tell('ready', { user: client.user.id, guilds: [...client.guilds.cache.keys()] }));
client.on(Events.ShardResume, () => tell('resumed'));
client.on(Events.Debug, (text) => console.error(text.replaceAll(token, '…')));
client.on(Events.Error, (error) => console.error(error));
client.on(Events.MessageCreate, (message) =>
  tell('message', { message: message.id, content: message.content, author: message.author.id }),
);

const inChannel = (channel) => client.channels.fetch(channel);
const messageIn = async (channel, message) => (await inChannel(channel)).messages.fetch({ message, force: true });

const verbs = {
  async send({ channel, content, nonce }) {
    const more = nonce ? { nonce, enforceNonce: true } : {};
    return (await (await inChannel(channel)).send({ content, ...more })).id;
  },
  async burst({ channel, contents }) {
    return Promise.all(contents.map((content) => verbs.send({ channel, content })));
  },
  async reply({ channel, message, content }) {
    return (await (await messageIn(channel, message)).reply(content)).reference.messageId;
  },
  async edit({ channel, message, content }) {
    return (await (await messageIn(channel, message)).edit(content)).content;
  },
  async delete({ channel, message }) {
    await (await inChannel(channel)).messages.delete(message);
  },
  async react({ channel, message, emoji }) {
    await (await messageIn(channel, message)).react(emoji);
    const fetched = await messageIn(channel, message);
    return fetched.reactions.cache.map((one) => [one.emoji.name, one.count, one.me]);
  },
  async type({ channel }) {
    await (await inChannel(channel)).sendTyping();
  },
  async fetch({ channel, message }) {
    return (await messageIn(channel, message)).content;
  },
  async page({ channel, how, cursor, limit = 50 }) {
    const where = cursor ? { [how]: cursor } : {};
    return [...(await (await inChannel(channel)).messages.fetch({ limit, cache: false, ...where })).keys()];
  },
  async pin({ channel, message }) {
    await (await messageIn(channel, message)).pin();
    return (await (await inChannel(channel)).messages.fetchPins()).items.map((item) => item.message.id);
  },
  async dm({ user, content }) {
    return (await (await client.users.fetch(user)).send(content)).id;
  },
  async members({ guild }) {
    const place = client.guilds.cache.get(guild);
    const listed = [...(await place.members.list({ limit: 1000, cache: false })).keys()];
    const chunked = [...(await place.members.fetch()).keys()];
    return String(listed.toSorted()) === String(chunked.toSorted()) ? listed : [...listed, 'chunked:', ...chunked];
  },
  async bulk_delete({ channel, messages }) {
    await (await inChannel(channel)).bulkDelete(messages);
  },
  async commands() {
    const options = [{ type: 3, name: 'text', description: 'What', required: true }];
    const set = await client.application.commands.set([{ name: 'echo', description: 'Say it again', options }]);
    return set.map((command) => command.name);
  },
  async webhook({ channel, content }) {
    const made = await (await inChannel(channel)).createWebhook({ name: 'messenger' });
    const sent = await made.send({ content, username: 'Messenger' });
    await made.delete();
    return sent.id;
  },
  // Make a role, a channel and an invite; give the role to a member; ban and unban them.
  async manage({ guild, user }) {
    const place = client.guilds.cache.get(guild);
    const role = await place.roles.create({ name: 'helper', permissions: PermissionFlagsBits.ManageMessages });
    await (await place.members.fetch(user)).roles.add(role);
    const hasRole = (await place.members.fetch({ user, force: true })).roles.cache.has(role.id);
    const made = await place.channels.create({ name: 'bots', topic: 'for bots' });
    const invite = await made.createInvite({ maxAge: 60 });
    await made.edit({ topic: 'changed' });
    const topic = (await client.channels.fetch(made.id, { force: true })).topic;
    await made.delete();
    await place.members.ban(user, { reason: 'a trial' });
    const banned = [...(await place.bans.fetch()).keys()];
    await place.members.unban(user);
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

await client.login(token);
