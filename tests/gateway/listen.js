// An EventSource that can send its token: reads a stream by fetch, and goes on from the last id after each end.
// `heard(frame)` gets each frame; `stop()` ends one stream, as a network that breaks does.
function listen(url, token, heard) {
  let lastId = "";
  let ending = new AbortController();
  async function read() {
    const headers = { Authorization: token, ...(lastId && { "Last-Event-ID": lastId }) };
    const answer = await fetch(url, { headers, signal: ending.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part; !(part = await reader.read()).done; ) {
      const events = (text + part.value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const fields = new Map(event.split("\n").map((line) => line.split(/: ?(.*)/s)));
        if (fields.has("id")) lastId = fields.get("id") ?? "";
        if (fields.has("data")) heard(JSON.parse(fields.get("data")));
      }
    }
  }
  (async () => {
    for (;;) {
      await read().catch(() => {});
      ending = new AbortController();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  return { stop: () => ending.abort() };
}
