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

-- The field that counts the window that starts then: a quota's own, or that of its window before; nil if neither does.
local function counting(field, current, ended, starts_at)
  local since, used = pair(current)
  if since == starts_at then return field, used end
  since, used = pair(ended)
  if since == starts_at then return before(field), used end
end
