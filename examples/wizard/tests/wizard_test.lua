local testing = require "kennel.testing"

-- Somebody at the first page of a booking: the site, and the address where he is.
local function visitor()
  local site = testing.site("wizard.lua")
  local res = site:get("/book")
  testing.equal(res.status, 303)
  return site, res.headers.location
end

local function answer(site, at, form)
  local res = site:post(at, { form = form })
  if res.status == 303 and res.headers.location:find("talk=", 1, true) then
    return site:get(res.headers.location), res.headers.location
  end
  return res, at
end

testing.test("a dog gets its place", function()
  local site, at = visitor()
  testing.contains(site:get(at).text, "Who is coming?")
  local page
  page, at = answer(site, at, { dog = "Rex <3" })
  testing.contains(page.text, "For how many nights?")
  page, at = answer(site, at, { nights = "2" })
  testing.contains(page.text, "Rex &lt;3, 2 nights: 36 EUR.")
  page = answer(site, at, { sure = "yes" })
  testing.contains(page.text, "See you soon!")
end)

testing.test("what makes no sense is asked again", function()
  local site, at = visitor()
  local page
  page, at = answer(site, at, { dog = "  " })
  testing.contains(page.text, "Every dog has a name.")
  page, at = answer(site, at, { dog = "Rex" })
  for _, nights in ipairs({ "0", "31", "1.5", "many", "" }) do
    page, at = answer(site, at, { nights = nights })
    testing.contains(page.text, "From 1 to 30, please.")
  end
end)

testing.test("rather not leads back to the start", function()
  local site, at = visitor()
  local page
  page, at = answer(site, at, { dog = "Rex" })
  page, at = answer(site, at, { nights = "1" })
  testing.contains(page.text, "1 night: 18 EUR.")
  local res = site:post(at, { form = { sure = "no" } })
  testing.equal(res.headers.location, "/")
  testing.equal(site:get(at).status, 410)
end)

testing.test("who thinks too long is told so", function()
  local site, at = visitor()
  site:advance(3600)
  local res = site:get(at)
  testing.equal(res.status, 410)
  testing.contains(res.text, 'href="/book"')
end)
