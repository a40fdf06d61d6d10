-- refund.lua: give back to quotas what one receipt charged, once. A rate counts attempts: nothing undoes one.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has been given back
-- ARGV[1] seconds the marker is kept
-- then three per part of the receipt: field cost starts_at
--   its count shrinks by cost, to 0 at least, if its window is still the one that was charged
--
-- Returns the units given back, summed over all quotas; 0 for a receipt seen before and for an
-- account that is not here (its marker is not set then: nothing was done).
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
local format, find, sub = string.format, string.find, string.sub
local count = (#ARGV - 1) / 3
local names = {'v', 's'}
for i = 1, count do names[2 + i] = ARGV[3 * i - 1] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] then return 0 end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return 0 end

local given, writes = 0, {'s', format('%.0f', tonumber(stored[2] or 0) + 1)}
for i = 1, count do
  local at, value = 3 * i - 1, stored[2 + i]
  if value then
    local bar = find(value, '|', 1, true)
    local window, used = sub(value, 1, bar - 1), tonumber(sub(value, bar + 1))
    local back = math.min(used, tonumber(ARGV[at + 1]))
    if tonumber(window) == tonumber(ARGV[at + 2]) and back > 0 then
      given = given + back
      writes[#writes + 1] = ARGV[at]
      writes[#writes + 1] = window .. '|' .. format('%.0f', used - back)
    end
  end
end
if #writes > 2 then redis.call('HSET', KEYS[1], unpack(writes)) end
return given
