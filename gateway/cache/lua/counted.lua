-- counted.lua: where a charge was counted. Scripts that correct one afterwards include this file.
local find, sub, format = string.find, string.sub, string.format

local function history_is(believed) -- as in charge.lua
  local info = redis.pcall('INFO', 'replication')
  if type(info) ~= 'string' then return believed == '' end
  return find(info, 'master_replid:' .. believed .. '\r', 1, true) ~= nil
end

local function pair(value) -- "a|b" -> a, b
  if not value then return nil, 0 end
  local bar = find(value, '|', 1, true)
  return sub(value, 1, bar - 1) + 0, sub(value, bar + 1) + 0
end

local function before(field) -- the field of a quota's window before
  return 'p' .. sub(field, 2)
end

-- Whether a charge of then goes on with the stored window although that starts later: it had begun (see charge.lua).
local function goes_on(since, starts_at, charged_at)
  return since ~= nil and since > starts_at and since <= charged_at
end

-- The field that counts the window that starts then, how much, and since when: a quota's own, or that of its window
-- before; else the later one that a charge of then went on with; nil if none does.
local function counting(field, current, ended, starts_at, charged_at)
  local since, used = pair(current)
  if since == starts_at then return field, used, since end
  local ended_since, ended_used = pair(ended)
  if ended_since == starts_at then return before(field), ended_used, ended_since end
  if goes_on(since, starts_at, charged_at) then return field, used, since end
end
