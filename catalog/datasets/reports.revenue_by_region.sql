-- owner: admin
-- A dataset is a named query that others read like a table. It is planned with its owner's rights; filters, masks and
-- denied columns that policies/policy.csv gives the reader on the tables below still hold.
SELECT o.region,
       count(DISTINCT o.order_id) AS orders,
       sum(i.quantity) AS items,
       sum(i.quantity * i.price) AS revenue
FROM sales.orders o
JOIN sales.order_items i ON i.order_id = o.order_id
GROUP BY o.region
