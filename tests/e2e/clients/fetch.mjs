// An agent on Node's own fetch; configured by its environment only.
const wanted = { model: "gpt-4.1-mini", max_tokens: 600, stream: true, messages: [{ role: "user", content: "hi" }] };
const answer = await fetch("https://api.openai.com/v1/chat/completions", {
  method: "POST",
  headers: { "content-type": "application/json", authorization: "Bearer sk-node" },
  body: JSON.stringify(wanted),
});
const decoder = new TextDecoder();
for await (const chunk of answer.body) {
  console.log(JSON.stringify({ status: answer.status, chunk: decoder.decode(chunk, { stream: true }) }));
}
