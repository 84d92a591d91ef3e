CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int8, name text, region text, born date, credit numeric(12,2), active boolean);
INSERT INTO shop.customers VALUES
 (1, 'Ada', 'EU', '1815-12-10', 100.50, true), (2, 'Bob', 'US', '1970-01-01', 0.00, false),
 (3, 'Cléo', 'EU', '2000-02-29', -20.25, true), (4, 'dan', 'APAC', NULL, NULL, NULL),
 (5, '', NULL, '1999-12-31', 7.10, true), (6, NULL, 'US', '2024-12-31', 99999999.99, false);
CREATE TABLE shop.orders (id int8, customer_id int8, placed timestamptz, total numeric(12,2), status text, weight float8, items int4);
INSERT INTO shop.orders VALUES
 (10, 1, '2024-01-15 08:30:00+00', 19.99, 'paid', 1.5, 2), (11, 1, '2024-02-29 23:59:59+00', 250.00, 'open', 12.25, 1),
 (12, 2, '2024-03-31 01:30:00+00', 5.00, 'paid', 0.1, 3), (13, 3, '2023-12-31 23:00:00+00', 1000.00, 'void', 100, 10),
 (14, 3, '2024-06-01 12:00:00+00', 42.42, 'paid', NULL, 4), (15, NULL, '2024-06-01 12:00:00+00', 0.01, 'open', 0.5, 1),
 (16, 99, '2024-07-04 00:00:00+00', 77.70, NULL, 3.25, NULL), (17, 2, NULL, 5.00, 'paid', 0.1, 3);
CREATE TABLE shop.items (order_id int8, line int4, sku text, qty int4, price numeric(10,2));
INSERT INTO shop.items VALUES
 (10, 1, 'A-1', 1, 9.99), (10, 2, 'B-2', 1, 10.00), (11, 1, 'A-1', 25, 10.00), (12, 1, 'C-3', 3, 1.67),
 (13, 1, 'B-2', 10, 100.00), (14, 1, 'A-1', 2, 11.21), (14, 2, 'C-3', 2, 10.00), (18, 1, 'Z-9', 1, 1.00);
CREATE TABLE shop.truth (a boolean, b boolean);
INSERT INTO shop.truth VALUES (true, true), (true, false), (true, NULL), (false, true), (false, false), (false, NULL), (NULL, true), (NULL, false), (NULL, NULL)
