// Shows a build's progress as it comes. Without a script, the browser asks again every three seconds.
const box = document.getElementById("state");
if (box) {
  const events = new EventSource(box.dataset.events);
  events.addEventListener("progress", async (e) => {
    const answer = await fetch(box.dataset.state);
    if (answer.ok) box.innerHTML = await answer.text();
    const { state } = JSON.parse(e.data);
    if (["done", "failed", "cancelled", "evicted"].includes(state)) {
      events.close();
      if (state === "done") location.reload();
    }
  });
}
