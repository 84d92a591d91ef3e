-- owner: admin
-- A reflection is stored beside its tables and answers questions by itself: nobody names it, and who may ask what stays as
-- policies/policy.csv says. lakegate.reflections tells how old it is and how often it answered.
CREATE REFLECTION orders_by_day ON sales.orders
    USING DIMENSIONS (region, status, date_trunc('day', ordered_at AT TIME ZONE 'UTC'))
    MEASURES (COUNT(*), SUM(total))
    REFRESH ON COMMIT;
