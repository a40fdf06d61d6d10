-- lease_end.lua: end a lease, and give back to quotas what it did not let through. Rates get nothing back.
--
-- KEYS[1] usage   hash    as in lease.lua
-- ARGV[1] name of the lease
-- then three per quota: field units starts_at
--   its count shrinks by units, to 0 at least, if its window is still the one that was charged
--
-- Returns the units given back, summed over all quotas; 0 for a lease that is not known here: it was ended
-- before, or these data are not those that it was charged to. Nothing is given back twice, or without having been
-- charged here, and no quota gets back more than the lease has charged to it.
--
-- Cluster: one key.   Cost: O(quotas + running leases of the customer).
local format, find, sub = string.format, string.find, string.sub
local count = (#ARGV - 1) / 3
local names = {'v', 's', 'l'}
for i = 1, count do names[3 + i] = ARGV[3 * i - 1] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] or not stored[3] then return 0 end

local kept, charged = {}, nil
for entry in string.gmatch(stored[3], '[^;]+') do
  if string.match(entry, '^%S+') == ARGV[1] then charged = entry .. ' ' else kept[#kept + 1] = entry .. ';' end
end
if not charged then return 0 end

local given, writes = 0, {'s', format('%d', (stored[2] or 0) + 1), 'l', table.concat(kept)}
for i = 1, count do
  local at, value = 3 * i - 1, stored[3 + i]
  local from, to = find(charged, ' ' .. ARGV[at] .. '=', 1, true)
  if value and from then
    local bar, most = find(value, '|', 1, true), sub(charged, to + 1, find(charged, ' ', to, true) - 1) + 0
    local window, used = sub(value, 1, bar - 1), sub(value, bar + 1) + 0
    local back = math.min(used, ARGV[at + 1] + 0, most)
    if window + 0 == ARGV[at + 2] + 0 and back > 0 then
      given = given + back
      writes[#writes + 1], writes[#writes + 2] = ARGV[at], window .. '|' .. format('%d', used - back)
    end
  end
end
redis.call('HSET', KEYS[1], unpack(writes))
return given
