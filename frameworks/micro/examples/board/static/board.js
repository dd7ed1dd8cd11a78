// Notes of others appear as they are written.
const notes = document.getElementById("notes");

new EventSource(notes.dataset.live).addEventListener("note", (event) => {
  const note = JSON.parse(event.data);
  const author = document.createElement("b");
  author.textContent = note.author;
  const text = document.createElement("span");
  text.textContent = note.text;
  const item = document.createElement("li");
  item.append(author, " ", text);
  if (note.picture) {
    const picture = document.createElement("img");
    picture.src = "/pictures/" + note.picture;
    item.append(picture);
  }
  notes.append(item);
});
