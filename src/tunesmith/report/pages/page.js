// Filter and search of the answers: rows are hidden, nothing is fetched.
const search = document.getElementById("search");
const group = document.getElementById("group");
const count = document.getElementById("count");
if (search && group && count) {
  const rows = [...document.querySelectorAll(".row")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      const fits = (!group.value || row.dataset.group === group.value) && words.every((word) => text.includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = shown ? `${shown} / ${rows.length}` : count.dataset.none;
  };
  search.addEventListener("input", update);
  group.addEventListener("change", update);
}
