-- The notes, by their number.
local store = {}

local notes, last = {}, 0

function store.add(text)
  last = last + 1
  local note = { id = tostring(last), text = text, at = os.time() }
  notes[note.id] = note
  return note
end

function store.get(id)
  return notes[id]
end

function store.remove(id)
  notes[id] = nil
end

function store.list(part)
  local found = {}
  for number = 1, last do
    local note = notes[tostring(number)]
    if note and (not part or note.text:find(part, 1, true)) then
      found[#found + 1] = note
    end
  end
  return found
end

function store.forget_older_than(seconds)
  local count, limit = 0, os.time() - seconds
  for id, note in pairs(notes) do
    if note.at < limit then
      notes[id] = nil
      count = count + 1
    end
  end
  return count
end

return store
