-- lease_end.lua: end a lease, and give back to quotas what it did not let through. Rates get nothing back.
--
-- KEYS[1] usage   hash    as in lease.lua
-- ARGV[1] name of the lease
-- then three per quota: field units starts_at
--   its count shrinks by units, to 0 at least, in the window that was charged: the open one, or the one before (p)
--
-- Returns the units given back, summed over all quotas; 0 for a lease that is not known here, or not believed (see
-- charge.lua): it was ended before, or these data are not those that it was charged to. Nothing is given back twice,
-- or without having been charged here, and no quota gets back more than the lease has charged to it.
--
-- A lease is drawn only in the window that it names (lease.lua), so no later one has counted it.
--
-- Cluster: one key.   Cost: O(quotas + running leases of the customer).
-- include counted.lua
local count = (#ARGV - 1) / 3
local names = {'v', 's', 'e', 'l'}
for i = 1, count do
  local field = ARGV[3 * i - 1]
  names[3 + 2 * i], names[4 + 2 * i] = field, before(field)
end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] or not stored[3] or not stored[4] or not history_is(stored[3]) then return 0 end

local kept, charged = {}, nil
for entry in string.gmatch(stored[4], '[^;]+') do
  if string.match(entry, '^%S+') == ARGV[1] then charged = entry .. ' ' else kept[#kept + 1] = entry .. ';' end
end
if not charged then return 0 end

local given, writes = 0, {'s', format('%d', (stored[2] or 0) + 1), 'l', table.concat(kept)}
for i = 1, count do
  local at = 3 * i - 1
  local field, used = counting(ARGV[at], stored[3 + 2 * i], stored[4 + 2 * i], ARGV[at + 2] + 0, 0)
  local from, to = find(charged, ' ' .. ARGV[at] .. '=', 1, true)
  if field and from then
    local most = sub(charged, to + 1, find(charged, ' ', to, true) - 1) + 0
    local back = math.min(used, ARGV[at + 1] + 0, most)
    if back > 0 then
      given = given + back
      writes[#writes + 1], writes[#writes + 2] = field, format('%d|%d', ARGV[at + 2], used - back)
    end
  end
end
redis.call('HSET', KEYS[1], unpack(writes))
return given
