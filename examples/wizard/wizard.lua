-- Booking a place for a dog: several pages, one function, local variables.
local kennel = require "kennel"
local app = kennel.app()

local frame = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>%s</title>
<style>
  body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem }
  input, select, button { font: inherit; padding: .3rem .6rem }
  .wrong { color: light-dark(#b00020, #ff8a80) }
</style>
<h1>%s</h1>
%s
]]

local function escape(text)
  return (text:gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

-- A page with a form. Without an action it is sent to the page's own address, which is what prompt waits for.
local function form(title, fields, problem)
  local note = problem and ('<p class="wrong">' .. problem .. "</p>") or ""
  local body = note .. '<form method="post">' .. fields .. " <button>Go on</button></form>"
  return kennel.html(frame:format(title, title, body))
end

-- Asks until the answer is one.
local function ask(title, fields, read)
  local problem
  while true do
    local value
    value, problem = read(kennel.prompt(form(title, fields, problem)).form)
    if value then
      return value
    end
  end
end

app:conversation("/book", function()
  local name_field = '<input name="dog" placeholder="The dog\'s name" maxlength="40" autofocus>'
  local dog = ask("Who is coming?", name_field, function(form)
    local name = (form.dog or ""):match("^%s*(.-)%s*$")
    if name == "" then
      return nil, "Every dog has a name."
    end
    return name
  end)

  local nights_field = '<input name="nights" inputmode="numeric" size="3" autofocus>'
  local nights = ask("For how many nights?", nights_field, function(form)
    local number = tonumber(form.nights)
    if not number or number % 1 ~= 0 or number < 1 or number > 30 then
      return nil, "From 1 to 30, please."
    end
    return number
  end)

  local price = nights * (kennel.config.price or 18)
  local summary = escape(dog) .. ", " .. nights .. (nights == 1 and " night" or " nights") .. ": " .. price .. " EUR."
  local yes = '<button name="sure" value="yes">Book it</button>'
  local no = '<button name="sure" value="no">Rather not</button>'
  local choice = "<p>" .. summary .. '<form method="post">' .. yes .. " " .. no .. "</form>"
  local page = kennel.html(frame:format("Is that right?", "Is that right?", choice))
  if kennel.prompt(page).form.sure ~= "yes" then
    return kennel.redirect("/")
  end

  kennel.log.info("booked", { dog = dog, nights = nights })
  return kennel.html(frame:format("Booked", "See you soon!", "<p>" .. summary .. ' <a href="/">Back to the start</a>'))
end)

app:get("/", function()
  return kennel.html(frame:format("Kennels", "A place for your dog", '<p><a href="/book">Book a place</a>'))
end)

return app
